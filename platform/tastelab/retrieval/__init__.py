"""From vectors of users and items to what is retrieved for each user, out of the whole catalogue; how good it is."""
