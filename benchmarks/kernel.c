/* The yardstick: the training step of one network of the static arithmetic task, written by hand.

   n = 100 inputs -> 2 hidden -> 1, batches of 128 fresh rows, mean squared error, Adam; every seed by itself, one thread a
   core. It does what the JAX program does in each step and nothing else: no evaluation, no records, no check for numbers
   that are not finite. Compiled twice: -DNALU makes both layers NALUs, otherwise they are NACs.

   Layout: x is [input][batch], so that all inner loops run over the batch. One pass draws x and sums what the outputs
   need, a second pass over x, which still lies in the L2 cache, sums the gradients of the first layer.

   usage: kernel SEEDS STEPS        prints seed-steps per second and the mean loss of the last step
*/

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUTS = 100, HIDDEN = 2, BATCH = 128, LANES = 16, SLICE = 25, OVERLAP = 12 };
static const float LEARNING_RATE = 1e-3f, BETA1 = 0.9f, BETA2 = 0.999f, ADAM_EPSILON = 1e-8f;

#ifdef NALU
enum { PER_WEIGHT = 3 }; /* w_hat, m_hat, g */
static const float LOG_EPSILON = 1e-7f;
#else
enum { PER_WEIGHT = 2 }; /* w_hat, m_hat */
#endif

enum { WEIGHTS = INPUTS * HIDDEN + HIDDEN, PARAMETERS = PER_WEIGHT * WEIGHTS };

typedef struct {
    float value[PARAMETERS], first[PARAMETERS], second[PARAMETERS];
    int a_start, b_start;
    uint32_t random[4][LANES]; /* xoshiro128+, a generator a lane */
} Seed;

static inline float uniform_bits(uint32_t bits) { /* 23 bits as a float in [1, 2) */
    union { uint32_t u; float f; } word = {bits >> 9 | 0x3F800000u};
    return word.f;
}

static inline void draw(uint32_t random[4][LANES], float *restrict row) {
    for (int start = 0; start < BATCH; start += LANES) {
#pragma omp simd
        for (int lane = 0; lane < LANES; lane++) {
            uint32_t s0 = random[0][lane], s1 = random[1][lane], s2 = random[2][lane], s3 = random[3][lane];
            row[start + lane] = uniform_bits(s0 + s3);
            uint32_t t = s1 << 9;
            s2 ^= s0; s3 ^= s1; s1 ^= s2; s0 ^= s3; s2 ^= t;
            s3 = s3 << 11 | s3 >> 21;
            random[0][lane] = s0; random[1][lane] = s1; random[2][lane] = s2; random[3][lane] = s3;
        }
    }
}

static uint64_t splitmix(uint64_t *state) {
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static void start(Seed *seed, uint64_t number) {
    memset(seed, 0, sizeof *seed);
    for (int word = 0; word < 4; word++)
        for (int lane = 0; lane < LANES; lane++) seed->random[word][lane] = (uint32_t)splitmix(&number);
    for (int p = 0; p < PARAMETERS; p++) seed->value[p] = (float)(splitmix(&number) % 2001) / 2000 - 0.5f;
    seed->a_start = (int)(splitmix(&number) % (INPUTS - 2 * SLICE + OVERLAP + 1));
    seed->b_start = seed->a_start + SLICE - OVERLAP;
}

/* -ffast-math knows no infinity: the quotient by one would not be 0. */
static inline float sigmoid(float z) { return 1 / (1 + expf(fminf(-z, 80))); }

static void adam(Seed *seed, const float *restrict gradient, int step) {
    const float scale1 = 1 / (1 - powf(BETA1, (float)step)), scale2 = 1 / (1 - powf(BETA2, (float)step));
    float *restrict value = seed->value, *restrict first = seed->first, *restrict second = seed->second;
#pragma omp simd
    for (int p = 0; p < PARAMETERS; p++) {
        float m = first[p] = BETA1 * first[p] + (1 - BETA1) * gradient[p];
        float v = second[p] = BETA2 * second[p] + (1 - BETA2) * gradient[p] * gradient[p];
        value[p] -= LEARNING_RATE * m * scale1 / (sqrtf(v * scale2) + ADAM_EPSILON);
    }
}

/* Gradients of w_hat and m_hat from those of W = tanh(w_hat) sigmoid(m_hat). */
static void through_weight(const Seed *seed, const float *restrict of_w, float *restrict gradient) {
#pragma omp simd
    for (int i = 0; i < WEIGHTS; i++) {
        float t = tanhf(seed->value[i]), s = sigmoid(seed->value[WEIGHTS + i]);
        gradient[i] = of_w[i] * (1 - t * t) * s;
        gradient[WEIGHTS + i] = of_w[i] * t * s * (1 - s);
    }
}

static inline float dot(const float *restrict a, const float *restrict b) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int j = 0; j < BATCH; j++) sum += a[j] * b[j];
    return sum;
}

#ifndef NALU

static float step(Seed *seed, int number) {
    static _Thread_local float x[INPUTS][BATCH] __attribute__((aligned(64)));
    float w[WEIGHTS], of_w[WEIGHTS], gradient[PARAMETERS];
#pragma omp simd
    for (int i = 0; i < WEIGHTS; i++) w[i] = tanhf(seed->value[i]) * sigmoid(seed->value[WEIGHTS + i]);
    const float *head = w + INPUTS * HIDDEN;

    float target[BATCH] __attribute__((aligned(64))), h[HIDDEN][BATCH] __attribute__((aligned(64)));
    memset(target, 0, sizeof target);
    memset(h, 0, sizeof h);
    for (int i = 0; i < INPUTS; i++) {
        draw(seed->random, x[i]);
        int in_a = i >= seed->a_start && i < seed->a_start + SLICE, in_b = i >= seed->b_start && i < seed->b_start + SLICE;
        float wanted = (float)(in_a + in_b), w0 = w[i], w1 = w[INPUTS + i];
#pragma omp simd
        for (int j = 0; j < BATCH; j++) {
            target[j] += wanted * x[i][j];
            h[0][j] += w0 * x[i][j];
            h[1][j] += w1 * x[i][j];
        }
    }
    float error[BATCH] __attribute__((aligned(64))), of_h[HIDDEN][BATCH] __attribute__((aligned(64))), loss = 0;
#pragma omp simd reduction(+ : loss)
    for (int j = 0; j < BATCH; j++) {
        float miss = head[0] * h[0][j] + head[1] * h[1][j] - target[j];
        loss += miss * miss / BATCH;
        error[j] = 2 * miss / BATCH;
        of_h[0][j] = head[0] * error[j];
        of_h[1][j] = head[1] * error[j];
    }
    of_w[INPUTS * HIDDEN] = dot(h[0], error);
    of_w[INPUTS * HIDDEN + 1] = dot(h[1], error);
    for (int i = 0; i < INPUTS; i++) {
        of_w[i] = dot(x[i], of_h[0]);
        of_w[INPUTS + i] = dot(x[i], of_h[1]);
    }
    through_weight(seed, of_w, gradient);
    adam(seed, gradient, number);
    return loss;
}

#else

/* acc += w row */
static inline void add(float *restrict acc, float w, const float *restrict row) {
#pragma omp simd
    for (int j = 0; j < BATCH; j++) acc[j] += w * row[j];
}

/* Draws x, and returns the targets a + b of its rows. */
static void draw_batch(Seed *seed, float x[INPUTS][BATCH], float *restrict target) {
    memset(target, 0, BATCH * sizeof *target);
    for (int i = 0; i < INPUTS; i++) {
        draw(seed->random, x[i]);
        int in_a = i >= seed->a_start && i < seed->a_start + SLICE, in_b = i >= seed->b_start && i < seed->b_start + SLICE;
        if (in_a + in_b) add(target, (float)(in_a + in_b), x[i]);
    }
}

/* A NALU's forward pass on rows of n inputs and their logarithms: a, m, g and y of each output. */
typedef struct {
    float a[BATCH], m[BATCH], g[BATCH], y[BATCH];
} Output __attribute__((aligned(64)));

static void finish(Output *out) { /* a, the logarithm of m and the logit of g are summed up */
#pragma omp simd
    for (int j = 0; j < BATCH; j++) {
        out->m[j] = expf(out->m[j]);
        out->g[j] = sigmoid(out->g[j]);
        out->y[j] = out->g[j] * out->a[j] + (1 - out->g[j]) * out->m[j];
    }
}

/* Gradients of a, of the logarithm of m and of the logit of g. */
static void unfinish(const Output *out, const float *restrict of_y, Output *of) {
#pragma omp simd
    for (int j = 0; j < BATCH; j++) {
        of->a[j] = of_y[j] * out->g[j];
        of->m[j] = of_y[j] * (1 - out->g[j]) * out->m[j];
        of->g[j] = of_y[j] * (out->a[j] - out->m[j]) * out->g[j] * (1 - out->g[j]);
    }
}

static void logarithm(const float *restrict x, float *restrict log_x) {
#pragma omp simd
    for (int j = 0; j < BATCH; j++) log_x[j] = logf(fabsf(x[j]) + LOG_EPSILON);
}

static inline void collect(Output *out, float w, float g, const float *restrict x, const float *restrict log_x) {
#pragma omp simd
    for (int j = 0; j < BATCH; j++) {
        out->a[j] += w * x[j];
        out->m[j] += w * log_x[j];
        out->g[j] += g * x[j];
    }
}

static float step(Seed *seed, int number) {
    static _Thread_local float x[INPUTS][BATCH] __attribute__((aligned(64)));
    static _Thread_local float log_x[INPUTS][BATCH] __attribute__((aligned(64)));
    float w[WEIGHTS], of_w[WEIGHTS], gradient[PARAMETERS];
    const float *g = seed->value + 2 * WEIGHTS;
#pragma omp simd
    for (int i = 0; i < WEIGHTS; i++) w[i] = tanhf(seed->value[i]) * sigmoid(seed->value[WEIGHTS + i]);

    float target[BATCH] __attribute__((aligned(64)));
    Output hidden[HIDDEN] = {0}, last = {0}, of_hidden[HIDDEN], of_last;
    draw_batch(seed, x, target);
    for (int i = 0; i < INPUTS; i++) {
        logarithm(x[i], log_x[i]);
        for (int o = 0; o < HIDDEN; o++) collect(&hidden[o], w[o * INPUTS + i], g[o * INPUTS + i], x[i], log_x[i]);
    }
    float log_h[HIDDEN][BATCH] __attribute__((aligned(64)));
    for (int o = 0; o < HIDDEN; o++) {
        int at = INPUTS * HIDDEN + o;
        finish(&hidden[o]);
        logarithm(hidden[o].y, log_h[o]);
        collect(&last, w[at], g[at], hidden[o].y, log_h[o]);
    }
    finish(&last);

    float error[BATCH] __attribute__((aligned(64))), loss = 0;
#pragma omp simd reduction(+ : loss)
    for (int j = 0; j < BATCH; j++) {
        float miss = last.y[j] - target[j];
        loss += miss * miss / BATCH;
        error[j] = 2 * miss / BATCH;
    }
    unfinish(&last, error, &of_last);
    for (int o = 0; o < HIDDEN; o++) {
        int at = INPUTS * HIDDEN + o;
        of_w[at] = dot(of_last.a, hidden[o].y) + dot(of_last.m, log_h[o]);
        gradient[2 * WEIGHTS + at] = dot(of_last.g, hidden[o].y);
        float of_h[BATCH] __attribute__((aligned(64)));
#pragma omp simd
        for (int j = 0; j < BATCH; j++) {
            float h = hidden[o].y[j], side = copysignf(1, h) / (fabsf(h) + LOG_EPSILON);
            of_h[j] = w[at] * (of_last.a[j] + of_last.m[j] * side) + g[at] * of_last.g[j];
        }
        unfinish(&hidden[o], of_h, &of_hidden[o]);
    }
    for (int o = 0; o < HIDDEN; o++)
        for (int i = 0; i < INPUTS; i++) {
            of_w[o * INPUTS + i] = dot(of_hidden[o].a, x[i]) + dot(of_hidden[o].m, log_x[i]);
            gradient[2 * WEIGHTS + o * INPUTS + i] = dot(of_hidden[o].g, x[i]);
        }
    through_weight(seed, of_w, gradient);
    adam(seed, gradient, number);
    return loss;
}

#endif

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s SEEDS STEPS\n", argv[0]);
        return 2;
    }
    int seeds = atoi(argv[1]), steps = atoi(argv[2]);
    Seed *all = aligned_alloc(64, (sizeof *all * (size_t)seeds + 63) / 64 * 64);
    double loss = 0;
    for (int s = 0; s < seeds; s++) start(&all[s], (uint64_t)s);
    double began = omp_get_wtime();
#pragma omp parallel for schedule(static) reduction(+ : loss)
    for (int s = 0; s < seeds; s++) {
        float last = 0;
        for (int number = 1; number <= steps; number++) last = step(&all[s], number);
        loss += last / seeds;
    }
    double seconds = omp_get_wtime() - began;
    printf("%.0f %g\n", (double)seeds * steps / seconds, loss);
    free(all);
    return 0;
}
