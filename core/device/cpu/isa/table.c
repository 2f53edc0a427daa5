/* SPDX-License-Identifier: Apache-2.0 */
/* The table of one instruction set. A family is called where its file is part of the tree. */
#include "core/device/cpu/isa/isa.h"

#include <pthread.h>

static struct lsi_kernel table[LS_OP_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void)
{
#if __has_include("core/device/cpu/isa/products.c")
    LSI_ISA_NAME(lsi_cpu_products)(table);
#endif
#if __has_include("core/device/cpu/isa/conv.c")
    LSI_ISA_NAME(lsi_cpu_conv)(table);
#endif
#if __has_include("core/device/cpu/isa/batch.c")
    LSI_ISA_NAME(lsi_cpu_batch)(table);
#endif
#if __has_include("core/device/cpu/isa/elements.c")
    LSI_ISA_NAME(lsi_cpu_elements)(table);
#endif
#if __has_include("core/device/cpu/isa/rows.c")
    LSI_ISA_NAME(lsi_cpu_rows)(table);
#endif
}

const struct lsi_kernel *LSI_ISA_NAME(lsi_cpu_kernels)(void)
{
    pthread_once(&once, fill);
    return table;
}

#if !__has_include("core/device/cpu/isa/sweeps.c")
const struct lsi_sweeps *LSI_ISA_NAME(lsi_cpu_sweeps)(void)
{
    return NULL;
}
#endif
