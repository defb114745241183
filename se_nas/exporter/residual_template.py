"""The text of a residual network's file, as templates (see `se_nas.exporter.template`)."""

from __future__ import annotations

OPERATOR = "Operator = Callable[[Tensor], Tensor]"

PAD_SHORTCUT = '''
class PadShortcut(nn.Module):
    """Shortcut without parameters: every ``stride``-th pixel, new channels filled with zeros."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.added = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))
'''

SHORTCUT = '''
def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The shortcut of a block: x itself where the shape stays."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return PadShortcut(in_channels, out_channels, stride)                                                            #? pad
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))  #? !pad
'''

# In a forward, @placement[expression] is the expression, through the SE block if that placement occurs.
BASIC_BLOCK = '''
class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, $parameters) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = shortcut(in_channels, out_channels, stride)
        self.placement = se.placement if se else ""                                 #? placement
        channels = $channels                                                        #? widths
        self.se = SEBlock($se_channels, $arguments) if $setting else nn.Identity()  #? se

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(@inner[self.bn1(self.conv1(@pre[x]))])
        out = @standard[self.bn2(self.conv2(out))]
        return torch.relu(out + @identity[self.downsample(x)])                      #? !post
        x = torch.relu(out + @identity[self.downsample(x)])                         #? post
        x = @post[x]                                                                #? post
        return x                                                                    #? post
'''

BOTTLENECK = '''
class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut."""

    def __init__(self, $parameters) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1$stride1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, $stride2, 1$groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = shortcut(in_channels, out_channels, stride)
        self.placement = se.placement if se else ""                                 #? placement
        channels = $channels                                                        #? widths
        self.se = SEBlock($se_channels, $arguments) if $setting else nn.Identity()  #? se

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(@pre[x])))
        out = torch.relu(@inner[self.bn2(self.conv2(out))])
        out = @standard[self.bn3(self.conv3(out))]
        return torch.relu(out + @identity[self.downsample(x)])                      #? !post
        x = torch.relu(out + @identity[self.downsample(x)])                         #? post
        x = @post[x]                                                                #? post
        return x                                                                    #? post
'''

SE_AT = '''
    def se_at(self, placement: str, x: Tensor) -> Tensor:
        """x, through the SE block if that is its place."""
        return self.se(x) if placement == self.placement else x
'''

BLOCKS = {"BasicBlock": BASIC_BLOCK, "Bottleneck": BOTTLENECK}

NETWORK = '''
def stage($blocks, in_channels: int, ${width}out_channels: int, stride: int) -> nn.Sequential:
    """One residual block a setting; the first changes the shape."""               #? se
    """Residual blocks; the first changes the shape."""                            #? !se
    first = $block(in_channels, $sizes, stride, blocks[0])                         #? se
    others = [$block(out_channels, $sizes, 1, setting) for setting in blocks[1:]]  #? se
    first = $block(in_channels, $sizes, stride)                                    #? !se
    others = [$block(out_channels, $sizes, 1) for _ in range(blocks - 1)]          #? !se
    return nn.Sequential(first, *others)


class ResNet(nn.Module):
    """$title; (N, in_channels, H, W) -> (N, num_classes)."""

    def __init__(self, num_classes: int = $classes, in_channels: int = $in_channels) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, $stem)
        self.bn1 = nn.BatchNorm2d($stem_channels)
        self.maxpool = nn.MaxPool2d($pool)                                         #? pool
$stages
        self.fc = nn.Linear($features, num_classes$fc)
        for module in self.modules():                                              #? !spatial
            if isinstance(module, nn.Conv2d):                                      #? !spatial
        for name, module in self.named_modules():                                  #? spatial
            if isinstance(module, nn.Conv2d) and ".se." not in name:               #? spatial
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.maxpool(x)                                                        #? pool
$calls
        x = self.fc(x.mean((2, 3)))
        return x


def build(weights: str | None = None) -> nn.Module:
    """The network, with the weights of a safetensors file if one is given."""
    network = ResNet()
    if weights is not None:
        from safetensors.torch import load_file

        network.load_state_dict(load_file(weights))
    return network


if __name__ == "__main__":
    network = build().eval()
    print(f"{sum(parameter.numel() for parameter in network.parameters()):,} parameters")
    print(tuple(network(torch.zeros(1, $input)).shape))
'''
