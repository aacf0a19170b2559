"""The inventory: objects, their relations and events; it carries out inventory effects and reads for everybody."""
