"""Passwords of storage URLs are in no message, name or representation."""

import traceback

import pytest

import jaxhpo as hpo
from jaxhpo.study import Study
from jaxhpo.study.storage._errors import explain_database_error, readable_errors
from jaxhpo.study.storage._secrets import redact_secrets, redact_url

X = {"x": hpo.uniform(0.0, 1.0)}
URLS = [
    "postgresql://me:sesame@host/base",
    "postgresql://:sesame@host/base",
    "postgresql://me:ses@sesame@host/base",
    "postgresql://me:x/y@sesame@host/base",
    "postgresql://me:sesame@host:port/base",
    "postgresql://host/base?user=me&password=sesame",
    "postgresql://host/base?sslpassword=sesame",
    "postgresql://host/base?PASSWORD=sesame&passwd=sesame",
    "postgresql+psycopg://me:sesame#?@host/base",
    "mysql+pymysql://me:sesame@host/base?ssl_key_passphrase=sesame",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3DX%3BUID%3Dme%3BPWD%3Dsesame",
    "redis://:sesame@host:6379/0",
    " postgresql://me:sesame@host/base",
    "\tpostgresql://me:sesame@host/base\n",
    "post gres://me:sesame@host",
    "postgresql:/me:sesame@host/base",
    "postgresql:me:sesame@host",
    "://me:sesame@host",
]


@pytest.mark.parametrize("url", URLS)
def test_no_form_of_a_url_shows_its_password(url):
    assert "sesame" not in redact_url(url)
    assert "sesame" not in redact_secrets("connection to 'sesame' failed")


@pytest.mark.parametrize("url", URLS)
def test_no_error_of_a_study_shows_a_password(url):
    with pytest.raises((ValueError, RuntimeError, OSError)) as caught:
        Study(X, "random", storage=url)
    text = "".join(traceback.format_exception(caught.value)).replace(repr(url), "")
    assert "sesame" not in str(caught.value)
    assert "sesame" not in text.split("Error:", 1)[-1]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///study.db", "sqlite:///study.db"),
        ("sqlite:////data/a@b.db", "sqlite:////data/a@b.db"),
        ("postgresql://host/base", "postgresql://host/base"),
        ("postgresql://me@host/base?sslmode=require", "postgresql://me@host/base?sslmode=require"),
        ("postgresql://me:s@host/base", "postgresql://me:***@host/base"),
        ("postgresql://h/b?password=s&x=1", "postgresql://h/b?password=***&x=1"),
        ("postgresql://me:s@s@host/base", "postgresql://***"),
        ("study.db", "study.db"),
    ],
)
def test_what_is_no_secret_is_shown(url, shown):
    assert redact_url(url) == shown


def test_a_driver_that_quotes_the_address_is_not_quoted():
    import sqlalchemy.exc

    shown = redact_url("postgresql://me:open%20sesame@host/base")
    error = sqlalchemy.exc.OperationalError("", {}, Exception("dsn 'me:open sesame@host' failed"))
    assert "sesame" not in explain_database_error(shown, error)

    def fail():
        with readable_errors(shown):
            raise error

    with pytest.raises(RuntimeError) as caught:
        fail()
    assert "sesame" not in "".join(traceback.format_exception(caught.value))
    # The cause stays where it says nothing that is secret.
    error = sqlalchemy.exc.OperationalError("", {}, Exception("server closed the connection"))
    with pytest.raises(RuntimeError) as caught:
        fail()
    assert caught.value.__cause__ is error
    assert caught.value.may_pass


def test_a_short_password_does_not_eat_letters():
    redact_url("postgresql://me:a@host/base")
    assert redact_secrets("a table has no password a") == "*** table has no password ***"


def test_a_search_of_scikit_learn_shows_no_password():
    linear_model = pytest.importorskip("sklearn.linear_model")
    from jaxhpo.integrations.sklearn import SearchCV

    ridge, space = linear_model.Ridge(), {"alpha": hpo.uniform(0.0, 1.0)}
    search = SearchCV(ridge, space, storage="postgresql://me:sesame@host/base")
    assert "sesame" not in repr(search) + search._repr_html_()
    assert "me:***@host" in repr(search)
    assert search.get_params()["storage"] == "postgresql://me:sesame@host/base"
    assert "study.db" in repr(SearchCV(ridge, space, storage="study.db"))


def test_an_optuna_storage_of_a_url_is_hidden_too(tmp_path):
    import optuna

    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/s.db")
    study = Study(X, "random", storage=storage, name="s")
    assert repr(study) == "Study(name='s', storage='RDBStorage', trials=0)"
