"""A training script as there are many: a small convolutional network on images of digits. It knows nothing of any tuner.

    python experiments/cookbook/digits.py --lr=0.05 --batch-size=64 --epochs=8

Prints `Test set: Average loss: 0.1234; accuracy 0.96` after every epoch. The images are scikit-learn's 1,797 of 8 by 8 pixels;
a quarter is the test set.
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=8)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits = load_digits()
    order = torch.randperm(len(digits.target))
    images = torch.tensor(digits.images, dtype=torch.float32)[order, None] / 16
    labels = torch.tensor(digits.target)[order]
    test = len(labels) // 4
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    for _ in range(args.epochs):
        for batch in torch.randperm(len(labels) - test).split(args.batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[test + batch]), labels[test + batch]).backward()
            optimizer.step()
        with torch.no_grad():
            scores = model(images[:test])
        loss = nn.functional.cross_entropy(scores, labels[:test]).item()
        accuracy = (scores.argmax(1) == labels[:test]).float().mean().item()
        print(f"Test set: Average loss: {loss:.4f}; accuracy {accuracy:.4f}", flush=True)


if __name__ == "__main__":
    main()
