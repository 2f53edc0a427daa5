/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of operands in the order in which the register kernel reads them. */
#include "core/device/cpu/isa/product_tile.h"

void LSI_ISA_NAME(lsi_product_pack)(const float *from, int64_t from_step, int64_t depth, int columns, float *to,
                                    int64_t to_step)
{
    int64_t k;
    int c;

    if (columns == TILE_COLUMNS) {
        for (k = 0; k < depth; k++, from += from_step, to += to_step) {
            vec low = vec_load(from), high = vec_load(from + VEC_LANES);

            vec_store(to, low);
            vec_store(to + VEC_LANES, high);
        }
        return;
    }
    for (k = 0; k < depth; k++, from += from_step, to += to_step) {
        for (c = 0; c < columns; c += VEC_LANES)
            vec_store(to + c, vec_load_some(from + c, columns - c));
    }
}

#if defined(LS_ISA_avx512)
/* Up to 16 rows of up to 16 terms become columns; missing rows are zeros, missing terms are not written. */
INLINE void transpose(const float *from, int64_t from_step, int rows, int64_t terms, float *to, int64_t to_step)
{
    __m512 a[16], b[16];
    int i;

    for (i = 0; i < 16; i++)
        a[i] = i < rows ? vec_load_some(from + i * from_step, terms) : vec_set(0.0f);
    for (i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for (i = 0; i < 16; i += 4) {
        a[i] = (__m512)_mm512_unpacklo_pd((__m512d)b[i], (__m512d)b[i + 2]);
        a[i + 1] = (__m512)_mm512_unpackhi_pd((__m512d)b[i], (__m512d)b[i + 2]);
        a[i + 2] = (__m512)_mm512_unpacklo_pd((__m512d)b[i + 1], (__m512d)b[i + 3]);
        a[i + 3] = (__m512)_mm512_unpackhi_pd((__m512d)b[i + 1], (__m512d)b[i + 3]);
    }
    /* a[4 q + j] holds terms j, 4 + j, 8 + j, 12 + j of rows 4 q .. 4 q + 3. */
    for (i = 0; i < 4; i++) {
        b[i] = _mm512_shuffle_f32x4(a[i], a[4 + i], 0x88);
        b[4 + i] = _mm512_shuffle_f32x4(a[i], a[4 + i], 0xdd);
        b[8 + i] = _mm512_shuffle_f32x4(a[8 + i], a[12 + i], 0x88);
        b[12 + i] = _mm512_shuffle_f32x4(a[8 + i], a[12 + i], 0xdd);
    }
    for (i = 0; i < 4; i++) {
        a[i] = _mm512_shuffle_f32x4(b[i], b[8 + i], 0x88);
        a[8 + i] = _mm512_shuffle_f32x4(b[i], b[8 + i], 0xdd);
        a[4 + i] = _mm512_shuffle_f32x4(b[4 + i], b[12 + i], 0x88);
        a[12 + i] = _mm512_shuffle_f32x4(b[4 + i], b[12 + i], 0xdd);
    }
    for (i = 0; i < 16 && i < terms; i++)
        vec_store(to + i * to_step, a[i]);
}
#else
/* Up to 8 rows of up to 8 terms become columns; missing rows are zeros, missing terms are not written. */
INLINE void transpose(const float *from, int64_t from_step, int rows, int64_t terms, float *to, int64_t to_step)
{
    __m256 a[8], b[8];
    int i;

    for (i = 0; i < 8; i++)
        a[i] = i < rows ? vec_load_some(from + i * from_step, terms) : vec_set(0.0f);
    for (i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (i = 0; i < 8; i += 4) {
        a[i] = (__m256)_mm256_unpacklo_pd((__m256d)b[i], (__m256d)b[i + 2]);
        a[i + 1] = (__m256)_mm256_unpackhi_pd((__m256d)b[i], (__m256d)b[i + 2]);
        a[i + 2] = (__m256)_mm256_unpacklo_pd((__m256d)b[i + 1], (__m256d)b[i + 3]);
        a[i + 3] = (__m256)_mm256_unpackhi_pd((__m256d)b[i + 1], (__m256d)b[i + 3]);
    }
    for (i = 0; i < 4; i++) {
        b[i] = _mm256_permute2f128_ps(a[i], a[4 + i], 0x20);
        b[4 + i] = _mm256_permute2f128_ps(a[i], a[4 + i], 0x31);
    }
    for (i = 0; i < 8 && i < terms; i++)
        vec_store(to + i * to_step, b[i]);
}
#endif

void LSI_ISA_NAME(lsi_product_pack_transposed)(const float *from, int64_t from_step, int64_t depth, int columns,
                                               float *to, int64_t to_step)
{
    int64_t k;
    int c;

    for (c = 0; c < columns; c += VEC_LANES) {
        const float *rows = from + c * from_step;
        int count = columns - c < VEC_LANES ? columns - c : VEC_LANES;

        k = 0;
        if (count == VEC_LANES) {
            for (; k + VEC_LANES <= depth; k += VEC_LANES)
                transpose(rows + k, from_step, VEC_LANES, VEC_LANES, to + k * to_step + c, to_step);
        }
        for (; k < depth; k += VEC_LANES)
            transpose(rows + k, from_step, count, depth - k, to + k * to_step + c, to_step);
    }
}
