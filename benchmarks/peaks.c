/* What this machine can do with all its cores: float32 multiply-adds, memory traffic and random numbers a second.

   prints: GFLOP/s, GB/s, millions of uniform floats a second
*/

#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { LANES = 16, CHAINS = 10 };
typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));

static volatile float sink;

static double multiply_adds(void) { /* ten independent chains, enough to hide the latency of one */
    const long rounds = 20 * 1000 * 1000;
    double began = omp_get_wtime();
#pragma omp parallel
    {
        Vector sum[CHAINS];
        for (int c = 0; c < CHAINS; c++) sum[c] = (Vector){0} + (float)c;
        for (long r = 0; r < rounds; r++)
            for (int c = 0; c < CHAINS; c++) sum[c] = sum[c] * 0.999f + 0.001f;
        for (int c = 0; c < CHAINS; c++) sink = sum[c][0];
    }
    return 2.0 * rounds * CHAINS * LANES * omp_get_max_threads() / (omp_get_wtime() - began) / 1e9;
}

static double triad(void) { /* a = b + s c over arrays that no cache holds */
    const long n = 32 * 1000 * 1000;
    float *a = malloc(4 * n), *b = malloc(4 * n), *c = malloc(4 * n);
    double best = 0;
    for (int round = 0; round < 4; round++) {
        double began = omp_get_wtime();
#pragma omp parallel for simd
        for (long i = 0; i < n; i++) {
            if (round == 0) b[i] = c[i] = 1;
            a[i] = b[i] + 3 * c[i];
        }
        double rate = 12.0 * n / (omp_get_wtime() - began) / 1e9;
        if (round && rate > best) best = rate;
    }
    sink = a[n / 2];
    free(a), free(b), free(c);
    return best;
}

static double random_numbers(void) { /* xoshiro128+, a generator a lane */
    const long rounds = 20 * 1000 * 1000;
    double began = omp_get_wtime();
#pragma omp parallel
    {
        Words s0, s1, s2, s3, sum = {0};
        for (int l = 0; l < LANES; l++) s0[l] = l + 1, s1[l] = l * 7 + 3, s2[l] = l * 13 + 5, s3[l] = l * 17 + 11;
        for (long r = 0; r < rounds; r++) {
            sum ^= ((s0 + s3) >> 9) | 0x3F800000u;
            Words t = s1 << 9;
            s2 ^= s0, s3 ^= s1, s1 ^= s2, s0 ^= s3, s2 ^= t;
            s3 = s3 << 11 | s3 >> 21;
        }
        sink = (float)sum[0];
    }
    return 1.0 * rounds * LANES * omp_get_max_threads() / (omp_get_wtime() - began) / 1e6;
}

int main(void) {
    printf("%.1f %.1f %.0f\n", multiply_adds(), triad(), random_numbers());
    return 0;
}
