"""Who answers a request: pure functions from a routing table and a request's facts to a decision."""
