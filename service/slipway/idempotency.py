"""stub"""

from functools import wraps

from slipway.database import db


def idempotent(view):
    @wraps(view)
    def done(*args, **kwargs):
        response = view(*args, **kwargs)
        db.session.commit()
        return response

    return done
