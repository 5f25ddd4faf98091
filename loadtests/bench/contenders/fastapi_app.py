"""The users of the kit's database, served as somebody who knows FastAPI would serve them.

Async SQLAlchemy with its usual driver and pool, pydantic's models for what comes and goes. Two
switches in the environment make three contenders of it:

INSTRUMENTED  OpenTelemetry's usual instrumentation, and Prometheus' metrics of all processes
CHECKED       what the kit does before it answers about users: the token's signature, a limit
              counted in Valkey, and the sign-in with its user in PostgreSQL

Without CHECKED anybody may read and write all users: a row that shows what the checks cost, and
nothing that could be deployed.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import BigInteger, DateTime, ForeignKey, String, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

INSTRUMENTED = "INSTRUMENTED" in os.environ
CHECKED = "CHECKED" in os.environ

engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
limiter = MovingWindowRateLimiter(
    RedisStorage(f"async+{os.environ['REDIS_URL']}", implementation="redispy", key_prefix="fastapi")
)
LIMIT = parse(os.environ["RATE_LIMIT"])


def now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(254), unique=True)
    email_verified: Mapped[bool]
    role: Mapped[str] = mapped_column(String(20))
    password_hash: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now, onupdate=now)
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class SignIn(Base):
    __tablename__ = "sign_ins"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class Ping(BaseModel):
    ping: str


class Index(BaseModel):
    name: str
    version: str
    links: dict[str, str]


class UserOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    email: str
    role: str
    created_at: datetime
    updated_at: datetime


class UserPage(BaseModel):
    items: list[UserOut]
    next: str | None


class UserPatch(BaseModel):
    name: str = Field(min_length=1, max_length=100)


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]
Credentials = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


async def bearer(credentials: Credentials, session: Session) -> User:
    """Whose token it is; a 401 unless their sign-in holds, a 429 if they ask too often."""
    try:
        claims = jwt.decode(
            credentials.credentials, os.environ["JWT_SECRET_KEY"], ["HS256"], issuer="slipway"
        )
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, "The token is no good.") from error
    if not await limiter.hit(LIMIT, claims["sub"]):
        raise HTTPException(429, "Too many requests.")
    sign_in = await session.scalar(
        select(SignIn).where(
            SignIn.id == claims["sid"], SignIn.ended_at.is_(None), SignIn.expires_at > now()
        )
    )
    if sign_in is None or str(sign_in.user_id) != claims["sub"]:
        raise HTTPException(401, "The session of this token has ended.")
    return sign_in.user


async def admin(user: Annotated[User, Depends(bearer)]) -> None:
    if user.role != "admin":
        raise HTTPException(403, "Only an admin may do this.")


async def owner_or_admin(user_id: int, user: Annotated[User, Depends(bearer)]) -> None:
    if user.id != user_id:
        await admin(user)


def checked_by(check: object) -> list[object]:
    return [Depends(check)] if CHECKED else []


app = FastAPI()


@app.get("/ping")
async def ping() -> Ping:
    return Ping(ping="pong")


@app.get("/")
async def index() -> Index:
    links = {
        "users": app.url_path_for("list_users"),
        "ping": app.url_path_for("ping"),
        "openapi": str(app.openapi_url),
    }
    return Index(name="fastapi", version=app.version, links=links)


@app.get("/api/users", dependencies=checked_by(admin))
async def list_users(
    session: Session,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: int = 0,
    created_from: datetime | None = None,
) -> UserPage:
    rows = select(User).where(User.id > cursor).order_by(User.id).limit(limit + 1)
    if created_from:
        rows = rows.where(User.created_at >= created_from)
    found = list(await session.scalars(rows))
    page = found[:limit]
    following = f"/api/users?limit={limit}&cursor={page[-1].id}" if len(found) > limit else None
    return UserPage(items=[UserOut.model_validate(user) for user in page], next=following)


@app.get("/api/users/{user_id}", dependencies=checked_by(owner_or_admin))
async def read_user(user_id: int, session: Session) -> UserOut:
    user = await session.get(User, user_id)
    if user is None:
        raise HTTPException(404, f"There is no user {user_id}.")
    return UserOut.model_validate(user)


@app.patch("/api/users/{user_id}", dependencies=checked_by(owner_or_admin))
async def patch_user(user_id: int, patch: UserPatch, session: Session) -> UserOut:
    user = await session.get(User, user_id, with_for_update=True)
    if user is None:
        raise HTTPException(404, f"There is no user {user_id}.")
    user.name = patch.name
    await session.commit()
    return UserOut.model_validate(user)


def instrument() -> None:
    """As the pages of each library say; where to and how many, the environment says."""
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: PLC0415
    from opentelemetry.instrumentation.redis import RedisInstrumentor  # noqa: PLC0415
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from prometheus_fastapi_instrumentator import Instrumentator  # noqa: PLC0415

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    FastAPIInstrumentor.instrument_app(app)
    SQLAlchemyInstrumentor().instrument(engine=engine.sync_engine)
    RedisInstrumentor().instrument()
    Instrumentator().instrument(app).expose(app)


if INSTRUMENTED:
    instrument()
