"""Language models behind one protocol: OpenAI-compatible servers, local transformers, and the offline teacher."""
