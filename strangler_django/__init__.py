"""What a Django monolith installs, so that the services beside it know its visitors."""
