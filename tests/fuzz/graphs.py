"""placeholder"""


def draw_graph(folder, generator):
    raise NotImplementedError
