"""What the service is called; whoever makes it their own writes their name here."""

# To programs: in `/` and `/version`.
NAME = "slipway"
# To people: on the pages and over the API's documentation.
TITLE = "Slipway"
