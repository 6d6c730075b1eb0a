"use strict";
// Pages of the catalog are the same for everybody. What is personal (who is logged in, how much is in the cart, what
// there is to say) and what others wrote is fetched into them; without this script plain links lead to the same.
(() => {
  const cookie = (name) => {
    const found = document.cookie.split("; ").find((each) => each.startsWith(`${name}=`));
    return found && found.slice(name.length + 1);
  };

  const fill = async (place) => {
    const answer = await fetch(place.dataset.fragment, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    place.innerHTML = await answer.text();
    const said = place.querySelector("[data-messages]");
    if (said) document.getElementById("messages").append(said);
  };

  // A form that leads to a page of its own without the script, because it needs a token, is sent at once with it.
  const send = (event) => {
    const form = event.currentTarget;
    const token = cookie("csrftoken");
    if (!token) return;
    const field = form.elements.csrfmiddlewaretoken || document.createElement("input");
    Object.assign(field, { type: "hidden", name: "csrfmiddlewaretoken", value: token });
    form.append(field);
    form.method = "post";
  };

  // Leaving the page breaks off what is still being fetched; there is nobody left to tell.
  Promise.allSettled([...document.querySelectorAll("[data-fragment]")].map(fill));
  document.querySelectorAll("form[data-post]").forEach((form) => form.addEventListener("submit", send));
})();
