/* SPDX-License-Identifier: Apache-2.0 */
/* OpenBLAS for `math: fast`, loaded at run time. It links nothing of Lockstep. */
#include "core/device/cpu/blas_ops.h"

#include <cblas.h>

static void set_threads(int threads)
{
    openblas_set_num_threads(threads);
}

static void sgemm(const struct lsi_sgemm *args)
{
    cblas_sgemm(CblasRowMajor, args->transpose_a ? CblasTrans : CblasNoTrans,
                args->transpose_b ? CblasTrans : CblasNoTrans, (blasint)args->m, (blasint)args->n, (blasint)args->k,
                1.0f, args->a, (blasint)args->a_stride, args->b, (blasint)args->b_stride, args->beta, args->c,
                (blasint)args->c_stride);
}

static const struct lsi_blas_ops ops = {
    .size = sizeof(struct lsi_blas_ops),
    .abi = LSI_BLAS_ABI,
    .name = "OpenBLAS",
    .set_threads = set_threads,
    .sgemm = sgemm,
};

__attribute__((visibility("default"))) const struct lsi_blas_ops *lockstep_blas_plugin(void);

const struct lsi_blas_ops *lockstep_blas_plugin(void)
{
    return &ops;
}
