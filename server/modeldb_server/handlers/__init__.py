"""What the routes do, a module for each group of them. Handlers get the context and checked arguments."""
