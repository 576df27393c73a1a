"""Mail: what is to be sent waits in an outbox for `delivery`. Other capabilities may import this one, and only it.

- `rules.send_code(db, context, kind, user, lifetime, ...)` sends a mail with a link's token and a code to type, within
  the limits. `kind` names the template and is the code's purpose. A route gets the context as
  `dependencies.MailContextDep`; elsewhere it is `rules.Context(services.keyring)`. `codes` redeems both.
- `rules.enqueue(db, kind, user, ...)` sends a mail without a code, in the unit of what it is about.
- A new kind is a file `templates/<language>/<kind>.jinja` in each language, with the blocks `subject`, `text`, `html`.
"""
