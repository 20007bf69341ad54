"""How steps are computed: processes, CUDA graphs, several runs as one program."""
