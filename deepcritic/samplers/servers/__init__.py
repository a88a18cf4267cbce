"""Shared code of the engines that call servers: the fleet, the protocol, and all retries."""
