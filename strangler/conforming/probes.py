"""Whether live and ready tell what they are for, quickly, and do not lie in a way that can be seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from strangler.conforming.answer import Answer, Asked
from strangler.conforming.finding import Finding, failed, passed, untold


def judge_probe(rule: str, target: str, came: Asked, *, seconds: float) -> Finding:
    """Say whether a probe answers 200 within ``seconds``."""
    asked = f"GET {target}"
    if not isinstance(came, Answer):
        return failed(rule, asked, str(came), "start the service, or answer its probes")
    if came.status != 200:
        return failed(rule, asked, f"{came}: {came.body[:200].decode(errors='replace')}", "answer 200 when it is well")
    if came.seconds > seconds:
        return failed(
            rule, asked, str(came), f"answer within {seconds:g} s: what a probe asks of others has a deadline"
        )
    return passed(rule, asked, str(came))


def judge_honesty(target: str, ready: Asked, elsewhere: Asked, reads: Iterable[Asked]) -> Iterator[Finding]:
    """Say whether ``ready`` can be believed: ``elsewhere`` is an address beside it that means nothing."""
    rule, asked = "probes.honest", f"GET {target} and beside it"
    if not isinstance(ready, Answer) or ready.status != 200:
        return
    if isinstance(elsewhere, Answer) and ready.is_like(elsewhere):
        yield failed(rule, asked, "any address is answered so", "answer it at its own address, by what it needs")
        return
    if contradiction := _contradiction(ready):
        yield failed(rule, asked, f"200, and {contradiction}", "answer 503 while something is wrong")
        return
    came = [each for each in reads if isinstance(each, Answer)]
    if came and all(each.status >= 500 for each in came):
        told = f"ready, and all of {len(came)} documented GETs answer {came[0].status}"
        yield failed(rule, asked, told, "let ready ask for what the routes need")
    elif came:
        yield passed(rule, asked, f"ready, and {len(came)} documented GETs are answered")
    else:
        yield untold(rule, asked, "no documented GET could be asked to compare it with")


def _contradiction(ready: Answer) -> str | None:
    """Return which words of its own a 200 contradicts."""
    try:
        told = ready.told
    except ValueError:
        return None
    if not isinstance(told, dict):
        return None
    if str(told.get("status", "")).lower() in _WRONG:
        return f"its status is {told['status']!r}"
    checks = told.get("checks")
    found = checks.items() if isinstance(checks, dict) else ()
    return next((f"{name} is {word!r}" for name, word in found if str(word).lower() in _WRONG), None)


_WRONG = frozenset(("not ready", "down", "fail", "failed", "error", "unhealthy", "unavailable", "false"))
