/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the weight gradient share: the tree over shards (conv_wgrad.c), blocks
 * (conv_wgrad_block.c). */
#ifndef LOCKSTEP_CORE_DEVICE_CPU_ISA_CONV_WGRAD_H
#define LOCKSTEP_CORE_DEVICE_CPU_ISA_CONV_WGRAD_H

#include "core/device/cpu/isa/conv_grid.h"

#define CONV_CHUNK_ROWS 320    /* rows packed together: 256 patches of them stay in the L2 cache */
#define CONV_CHUNK_COLUMNS 256 /* columns of dy packed together */
#define CONV_CHUNK_PITCH (CONV_CHUNK_ROWS + 16)

struct conv_wgrad {
    const struct ls_op_call *call;
    const struct ls_conv2d_attrs *attrs;
    int64_t rows, columns; /* of dw */
    float *buffers;        /* of rows * columns floats: running sum and slots */
    int buffer_count;
    char *scratch; /* sizeof(struct conv_scratch) a thread */
    bool padded;
};

struct __attribute__((aligned(64))) conv_scratch {
    float patches[LSI_BLOCK * CONV_CHUNK_PITCH]; /* [position][row] */
    float dy[LSI_BLOCK * CONV_CHUNK_COLUMNS];    /* by tiles of columns: [position][column] */
    struct conv_run runs[LSI_BLOCK];
    unsigned char inside[LSI_BLOCK]; /* exact only: whether the tap is not padding there */
};

/* A part of dw: rows [k0, k1), columns [c0, c1). */
struct conv_part {
    const struct conv_wgrad *g;
    struct conv_scratch *scratch;
    int64_t k0, k1, c0, c1;
    bool exact; /* the rows are of one tap; dy counts only where the tap is not padding */
};

/* Adds the samples [begin, end) of the pair in[in], in[in + 1] to the running sums of the part, block by block. */
void LSI_ISA_NAME(lsi_conv_add_pair)(const struct conv_part *part, int in, int64_t begin, int64_t end, float *sums);

#endif
