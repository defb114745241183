"""What may lie beside the source: the network as a program (torch.export, ONNX), and entries for torch.hub and timm."""
