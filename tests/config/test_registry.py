from gateway.app import registry
from gateway.config.fields import Model


def test_every_verifier_in_the_folder_keeps_the_promise():
    """Its settings refuse unknown keys, and errors show nothing of them."""
    for name, plugin in registry().verifiers.items():
        config = plugin.Settings.model_config

        assert issubclass(plugin.Settings, Model), name
        assert ("forbid", True) == (config["extra"], config["hide_input_in_errors"])


def test_the_language_knows_all_plug_ins():
    """By the names of their files and schemes."""
    found = registry()

    assert {"jwt", "introspection", "userinfo", "learned"} <= found.verifiers.keys()
    assert {"rfc6750", "melon", "nugu", "ottm"} <= found.dialects.keys()
    assert {"memory", "redis", "rediss"} <= set(found.store_schemes)
