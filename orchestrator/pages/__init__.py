"""What browsers get: style sheets and ES modules without a build step, and the page of a plan made of them."""
