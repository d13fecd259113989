"""The networks of scripts/benchmark_recurrent.py in PyTorch, as one would write them: one seed, a call a step.

Reads a line of JSON for each turn, a network's settings and ``steps``, takes as many training steps, and prints the seconds
that they took by the clock and by the processor. It needs torch and nothing else.
"""

import functools
import json
import sys
import time
from typing import Any

import torch
from torch import nn


class NAC(nn.Module):
    """a = W x with W = tanh(Ŵ) ⊙ σ(M̂), on rows."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.w_hat = nn.Parameter(nn.init.xavier_uniform_(torch.empty(inputs, outputs)))
        self.m_hat = nn.Parameter(nn.init.xavier_uniform_(torch.empty(inputs, outputs)))

    def weight(self) -> torch.Tensor:
        """W: [inputs, outputs]."""
        return torch.tanh(self.w_hat) * torch.sigmoid(self.m_hat)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, inputs] → [batch, outputs]."""
        return x @ self.weight()


class NALU(NAC):
    """y = g ⊙ (W x) + (1 - g) ⊙ exp(W log(|x| + ε)), on rows."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs)
        self.g = nn.Parameter(nn.init.xavier_uniform_(torch.empty(inputs, outputs)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, inputs] → [batch, outputs]."""
        w, g = self.weight(), torch.sigmoid(x @ self.g)
        return g * (x @ w) + (1 - g) * torch.exp(torch.log(x.abs() + 1e-7) @ w)


class UnitCell(nn.Module):
    """h_t = U([x_t; h_{t-1}]), and a unit on the last h: x [time, batch, in] → [batch, 1]."""

    def __init__(self, unit: type[NAC], inputs: int, hidden: int):
        super().__init__()
        self.cell, self.readout = unit(inputs + hidden, hidden), unit(hidden, 1)
        self.first = nn.Parameter(torch.zeros(hidden))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[time, batch, in] → [batch, 1]."""
        h = self.first.expand(x.shape[1], -1)
        for x_t in x:
            h = self.cell(torch.cat([x_t, h], 1))
        return self.readout(h)


class LSTM(nn.Module):
    """PyTorch's own LSTM with a linear layer on its last output: x [time, batch, in] → [batch, 1]."""

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.lstm, self.readout = nn.LSTM(inputs, hidden), nn.Linear(hidden, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[time, batch, in] → [batch, 1]."""
        return self.readout(self.lstm(x)[0][-1])


class Language(nn.Module):
    """An embedding of 30 words, PyTorch's LSTM, and a NALU on its output at the end: words [time, batch] → [batch, 1]."""

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.embedding, self.lstm, self.readout = nn.Embedding(30, inputs), nn.LSTM(inputs, hidden), NALU(hidden, 1)

    def forward(self, words: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        """Words and the last step of each sequence, i64[time, batch] and i64[batch] → [batch, 1]."""
        h = self.lstm(self.embedding(words))[0]
        return self.readout(h[ends, torch.arange(words.shape[1])])


class Program(nn.Module):
    """An LSTM that configures a NALU at every step: tokens [time, batch, in] → the first register [batch, 1]."""

    def __init__(self, inputs: int, hidden: int, registers: int = 1):
        super().__init__()
        self.registers, self.size = registers, (1 + registers) * registers
        self.lstm = nn.LSTMCell(inputs - 1 + registers, hidden)
        self.head = nn.Linear(hidden, 2 * self.size + registers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[time, batch, in] → [batch, 1]."""
        state, r = None, torch.zeros(x.shape[1], self.registers)
        for x_t in x:
            kind, value = x_t[:, :-1], x_t[:, -1:]
            state = self.lstm(torch.cat([kind, torch.tanh(r)], 1), state)
            w_hat, m_hat, g_hat = self.head(state[0]).split([self.size, self.size, self.registers], 1)
            w = (torch.tanh(w_hat) * torch.sigmoid(m_hat)).view(-1, 1 + self.registers, self.registers)
            seen, g = torch.cat([value, r], 1)[:, None], torch.sigmoid(g_hat)
            multiply = torch.exp((torch.log(seen.abs() + 1e-7) @ w)[:, 0])
            r = g * (seen @ w)[:, 0] + (1 - g) * multiply
        return r[:, :1]


NETWORKS = {
    "lstm": LSTM,
    "nac": functools.partial(UnitCell, NAC),
    "nalu": functools.partial(UnitCell, NALU),
    "language": Language,
    "program": Program,
}


def batch_of(network: str, time: int, batch: int, inputs: int) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Fresh inputs and targets of the right shapes."""
    if network == "language":
        words, ends = torch.randint(30, (time, batch)), torch.randint(time, (batch,))
        return (words, ends), words.sum(0, keepdim=True).T.float()
    x = 0.5 * torch.rand(time, batch, inputs)
    return (x,), x.sum((0, 2))[:, None]


@functools.cache
def trained(network: str, time: int, batch: int, inputs: int, hidden: int, clip: float) -> Any:
    """A function that takes a training step."""
    model = NETWORKS[network](inputs, hidden)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step() -> None:
        arguments, targets = batch_of(network, time, batch, inputs)
        loss = nn.functional.mse_loss(model(*arguments), targets)
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()

    return step


def main() -> None:
    """Takes turns until its input ends."""
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    print(json.dumps(torch.__version__), flush=True)
    for line in sys.stdin:
        settings = json.loads(line)
        steps = settings.pop("steps")
        step = trained(**settings)
        began = time.perf_counter(), time.process_time()
        for _ in range(steps):
            step()
        print(json.dumps([time.perf_counter() - began[0], time.process_time() - began[1]]), flush=True)


if __name__ == "__main__":
    main()
