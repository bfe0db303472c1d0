"""Toolstacks as coroutines: the plug-in interface, the domain builder and one file per scheme."""
