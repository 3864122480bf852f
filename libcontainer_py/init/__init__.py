"""What becomes a container's init: the fork server, and the executor that carries out a plan inside the container."""
