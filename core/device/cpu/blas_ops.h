/* SPDX-License-Identifier: Apache-2.0 */
/* What a library of matrix products gives through its plug-in: nothing of ours is linked into it. */
#ifndef LOCKSTEP_CORE_DEVICE_CPU_BLAS_OPS_H
#define LOCKSTEP_CORE_DEVICE_CPU_BLAS_OPS_H

#include <stddef.h>
#include <stdint.h>

#define LSI_BLAS_ABI 1
#define LSI_BLAS_SYMBOL "lockstep_blas_plugin"

/* c (m, n) = op(a) op(b) + beta c; row-major, op transposes where told. Strides are in elements. */
struct lsi_sgemm {
    int transpose_a, transpose_b;
    int64_t m, n, k;
    const float *a;
    int64_t a_stride;
    const float *b;
    int64_t b_stride;
    float beta;
    float *c;
    int64_t c_stride;
};

struct lsi_blas_ops {
    size_t size;
    uint32_t abi;
    const char *name;
    /* Threads that one product may use, for the whole process. Not concurrent with sgemm. */
    void (*set_threads)(int threads);
    /* Any thread; blocks; borrows everything; cannot fail. */
    void (*sgemm)(const struct lsi_sgemm *args);
};

/* The plug-in's one symbol. */
typedef const struct lsi_blas_ops *(*lsi_blas_plugin_fn)(void);

#endif
