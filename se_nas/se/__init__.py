"""The SE block: its settings, its operators, its exact cost."""
