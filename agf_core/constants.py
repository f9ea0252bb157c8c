"""Rates and sizes of the paper; all that follows from them is computed.

A model may differ: the code that runs one reads its `InputSpec` (see
`agf_core.features.spectrogram`), and these are only that class's defaults.
"""

SAMPLE_RATE = 44_100  # hertz
N_FFT = 2048  # samples, 46 ms (paper, section 3.3)
HOP_LENGTH = N_FFT // 2  # samples, 50 % overlap (paper, section 3.3)
N_MELS = 128
LOG_FLOOR = 1e-10  # power below this counts as -100 dB

SEGMENT_FRAMES = 43  # about one second (paper, section 3.2.1)
WINDOW_HOP = SEGMENT_FRAMES // 2  # frames between the windows of a prediction
EXCERPT_SECONDS = 30.0  # of a track that a prediction analyses, as long as the clips of FMA

SHORTEST_SECONDS = 1.0  # of audio from which anything is predicted

N_GROUPS = 40  # artist groups per task (paper, section 4)
TRANSFER_WIDTH = 256  # the transfer feature of one task (paper, table 2)
MLP_WIDTH = 1024  # hidden units of the transfer MLP (paper, section 3.2.3)
