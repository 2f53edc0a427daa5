/* SPDX-License-Identifier: Apache-2.0 */
/* A product of patches and weights: a convolution or a part of its input gradient. Two ways to run it. */
#ifndef LOCKSTEP_CORE_DEVICE_CPU_ISA_CONV_PRODUCT_H
#define LOCKSTEP_CORE_DEVICE_CPU_ISA_CONV_PRODUCT_H

#include "core/device/cpu/isa/conv_grid.h"

#define CONV_GROUP 8 /* tiles, or rows of positions, that a block of weights in the L1 cache serves */
/* Bytes of copied source rows a thread (conv_direct.c). */
#define CONV_RING_BYTES (256 * 1024)

struct conv_product {
    struct conv_grid grid;
    const float *packed; /* weights: per tile of columns [term][columns] */
    int64_t columns;     /* channels of the result */
    float *result;
    const float *bias; /* NULL: none */
    bool relu;
    bool finite;   /* the weights are */
    char *scratch; /* conv_scratch_bytes() a thread */
};

static inline float *conv_result(const struct conv_product *p, const struct conv_place *place)
{
    int64_t y = p->grid.y.first + place->y * p->grid.y.step;
    int64_t x = p->grid.x.first + place->x * p->grid.x.step;
    return p->result + ((place->sample * p->grid.y.result + y) * p->grid.x.result + x) * p->columns;
}

/* Scratch of a thread. */
size_t LSI_ISA_NAME(lsi_conv_packed_bytes)(void);
size_t LSI_ISA_NAME(lsi_conv_direct_bytes)(void);
static inline size_t conv_scratch_bytes(void)
{
    size_t packed = LSI_ISA_NAME(lsi_conv_packed_bytes)();
    size_t direct = LSI_ISA_NAME(lsi_conv_direct_bytes)();
    return packed > direct ? packed : direct;
}

/* conv_packed.c: any product, also with weights that are not finite. */
void LSI_ISA_NAME(lsi_conv_run_packed)(struct ls_device *device, struct conv_product *product);
/* conv_direct.c: false where it does not take the product. */
bool LSI_ISA_NAME(lsi_conv_run_direct)(struct ls_device *device, struct conv_product *product);

#endif
