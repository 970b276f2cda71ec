"""Programs for whoever changes Cenote."""
