"""The conformance kit for toolstacks in any language."""
