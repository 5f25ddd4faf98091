"""How fast the kit is, beside what a team would run instead; `make bench`.

Contenders, all in one run and pinned alike: servers on the first core, of one process but Flask's;
PostgreSQL, Valkey, the collector and wrk on the last. Rounds of short slices alternate between
them, so that a disturbance meets all alike; what is told is the median, with the least and most.

kit                              every signal on: JSON logs, metrics, spans of every tenth request
                                 to a real collector, a Sentry DSN
kit, telemetry off               the same without any signal
bare Flask, `gunicorn -w 4`      a view that says `jsonify`, in the kit's image; sync workers
bare FastAPI                     under uvicorn: users from PostgreSQL for anybody, no access log
instrumented FastAPI, unchecked  with OpenTelemetry, Prometheus and JSON logs; still for anybody
instrumented FastAPI             and with the checks that the kit makes: the token's signature, a
                                 limit counted in Valkey, sign-in and user from PostgreSQL

Like is compared with like: the kit's answers about users with those of `instrumented FastAPI`. The
unchecked ones show what the checks cost; nobody could deploy them. On hello nobody checks anything.

Each request bears another of a thousand tokens, and asks for another row, in other words for a page
of the list, or writes another name, so that limits stay production's and nothing is answered from
what was just answered; `kept` alone asks for a kept page, which FastAPI makes anew. Through nginx,
the kit has its own configuration and the others a plain proxy.

Linux, with a Docker engine on this machine and wrk.
"""
