"""What engines need that ask servers: a fleet of them, the protocol, and one owner of retries."""
