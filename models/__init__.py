"""The networks: BR2Net, its backbones, attention and refining units, and their checkpoints."""
