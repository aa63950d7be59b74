/* What a GPT computes between its matrix products, for one CPU thread: norms, attention, activations, the loss.

   Arrays are float32 and contiguous, ids and targets int64. B sequences, T tokens, n = B T rows, H hidden, N heads, K heads
   of keys and values, D features a head, V words. Everything that is written is written in full, unless a comment says that
   it is added to. Not a number goes in, not a number comes out: a run that diverges must be seen to.
   Ids are trusted: `stranger` looks at them first.

   Vectors are those of GCC and clang, so that one text serves every processor; loops over elements are left to the compiler. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
#define W 16 /* floats in a vector */
#else
#define W 8
#endif
#define ROWS 8 /* of a tile of a product */
#define BAND 16 /* queries that are worked on at once */
#define UP(n) (((n) + W - 1) & -(long)W) /* to whole vectors, in a form that the compiler sees it by */
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * W), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(4 * W)));

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else /* GCC had its own form before it took over clang's */
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif

/* -- elementary functions ------------------------------------------------------------------------------------------- */

/* e^x for x <= 80, and 0 for x < -80, so that no denormal numbers come of it, on which a processor is slow; nothing here can
   tell the difference. x = k ln 2 + r, and a minimax polynomial in r. */
INLINE float exp_(float x)
{
    float keep = x < -80.0f ? 0.0f : 1.0f;
    x = x < -80.0f ? -80.0f : x;
    x = x > 80.0f ? 80.0f : x;
    float k = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* rounded */
    float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 0.0013950490392744541f;
    p = p * r + 0.008368889801204205f;
    p = p * r + 0.04166620597243309f;
    p = p * r + 0.166665181517601f;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    union { uint32_t i; float f; } power = {.i = ((uint32_t)(int32_t)k + 127u) << 23};
    return p * (power.f * keep);
}

/* Phi(x), the normal distribution, and e = exp(-x^2 / 2): erfc(z) = e t P(t) with t = 1 / (1 + p z), |relative error| < 2e-8
   before rounding (the form is Abramowitz & Stegun 7.1.26, with three terms more and coefficients of our own). */
INLINE float normal(float x, float e)
{
    float z = fabsf(x) * 0.70710678f;
    float t = 1.0f / (1.0f + 0.3275911f * z);
    float p = -0.1310129016637802f;
    p = p * t + 0.4468214213848114f;
    p = p * t - 0.303751140832901f;
    p = p * t + 0.3412609398365021f;
    p = p * t + 0.09565100073814392f;
    p = p * t + 0.18113946914672852f;
    p = p * t + 0.18511289358139038f;
    p = p * t + 0.18477828800678253f;
    float tail = 0.5f * e * t * p;
    return x < 0.0f ? tail : 1.0f - tail;
}

/* -- small matrix products ------------------------------------------------------------------------------------------ */

/* C (R, v vectors) = or += sum over k of A[r ai + k ak] B[k][...]; R and v are constants to the compiler. */
INLINE void tile(const int R, const int v, long depth, const float *A, long ai, long ak, const float *B, long ldb, float *C,
                 long ldc, int add)
{
    vec c[ROWS][2];
    for (int r = 0; r < R; r++)
        for (int j = 0; j < v; j++) c[r][j] = add ? *(const vec *)(C + r * ldc + j * W) : (vec){0};
    for (long k = 0; k < depth; k++) {
        vec b[2];
        for (int j = 0; j < v; j++) b[j] = *(const vec *)(B + k * ldb + j * W);
        for (int r = 0; r < R; r++)
            for (int j = 0; j < v; j++) c[r][j] += A[r * ai + k * ak] * b[j];
    }
    for (int r = 0; r < R; r++)
        for (int j = 0; j < v; j++) *(vec *)(C + r * ldc + j * W) = c[r][j];
}

INLINE void strip(const int R, long cols, long depth, const float *A, long ai, long ak, const float *B, long ldb, float *C,
                  long ldc, int add)
{
    long j = 0;
    for (; j + 2 * W <= cols; j += 2 * W) tile(R, 2, depth, A, ai, ak, B + j, ldb, C + j, ldc, add);
    if (j < cols) tile(R, 1, depth, A, ai, ak, B + j, ldb, C + j, ldc, add);
}

/* C (rows, cols) = or += A B, with cols a multiple of W, B and C by rows, A by any strides. */
static void product(long rows, long cols, long depth, const float *A, long ai, long ak, const float *B, long ldb, float *C,
                    long ldc, int add)
{
    long i = 0;
    for (; i + ROWS <= rows; i += ROWS) strip(ROWS, cols, depth, A + i * ai, ai, ak, B, ldb, C + i * ldc, ldc, add);
    for (; i + 4 <= rows; i += 4) strip(4, cols, depth, A + i * ai, ai, ak, B, ldb, C + i * ldc, ldc, add);
    for (; i < rows; i++) strip(1, cols, depth, A + i * ai, ai, ak, B, ldb, C + i * ldc, ldc, add);
}

/* Rows of `from` (rows, D), which lie `ld` apart, as rows of whole vectors: where they are, or in `to` with zeros behind.
   `ld` becomes how far apart they lie then. */
static const float *whole(float *to, const float *from, long *ld, long rows, long D)
{
    long Dp = UP(D), stride = *ld;
    if (D == Dp) return from;
    for (long t = 0; t < rows; t++) {
        for (long d = 0; d < D; d++) to[t * Dp + d] = from[t * stride + d];
        for (long d = D; d < Dp; d++) to[t * Dp + d] = 0.0f;
    }
    *ld = Dp;
    return to;
}

#if W == 16
#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#else
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#endif

/* A square of W by W, transposed: row r and row r + W / 2 are interleaved, as often as W can be halved. */
INLINE void square(float *to, long ldt, const float *from, long ldf)
{
    vec a[W], b[W];
    for (int r = 0; r < W; r++) a[r] = *(const vec *)(from + r * ldf);
    for (int stage = 1; stage < W; stage *= 2) {
        for (int r = 0; r < W / 2; r++) {
            b[2 * r] = SHUFFLE(a[r], a[r + W / 2], LOW);
            b[2 * r + 1] = SHUFFLE(a[r], a[r + W / 2], HIGH);
        }
        for (int r = 0; r < W; r++) a[r] = b[r];
    }
    for (int r = 0; r < W; r++) *(vec *)(to + r * ldt) = a[r];
}

/* Rows of `from` (rows, D), which lie `stride` apart, transposed into `to` (D, Tp), with zeros behind. */
static void turned(float *to, const float *from, long stride, long rows, long D, long Tp)
{
    long d = 0;
    for (; d + W <= D; d += W) {
        long t = 0;
        for (; t + W <= rows; t += W) square(to + d * Tp + t, Tp, from + t * stride + d, stride);
        for (; t < Tp; t++)
            for (long i = d; i < d + W; i++) to[i * Tp + t] = t < rows ? from[t * stride + i] : 0.0f;
    }
    for (; d < D; d++)
        for (long t = 0; t < Tp; t++) to[d * Tp + t] = t < rows ? from[t * stride + d] : 0.0f;
}

static float *scratch(long floats) /* on a border of 64 bytes, that no vector lies across one */
{
    return aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64);
}

/* -- attention ------------------------------------------------------------------------------------------------------ */

/* y (n, N D) = causal attention of qkv (n, (N + 2 K) D), and the logarithms of the sums of its weights (B, N, T), with which
   the weights are had again. Returns 1 where memory is short. */
int attention(const float *qkv, float *y, float *logs, long B, long T, long N, long K, long D, float scale)
{
    long S = (N + 2 * K) * D, Dp = UP(D), Tp = UP(T), group = N / K;
    float sums[BAND], *memory = scratch(D * Tp + T * Dp + BAND * (Tp + Dp));
    if (!memory) return 1;
    float *kt = memory, *place = kt + D * Tp, *p = place + T * Dp, *o = p + BAND * Tp;
    const float *v = place;
    long ldv = S;
    for (long b = 0; b < B; b++)
        for (long head = 0; head < N; head++) {
            const float *q = qkv + b * T * S + head * D;
            if (head % group == 0) {
                const float *key = qkv + b * T * S + (N + head / group) * D;
                turned(kt, key, S, T, D, Tp);
                ldv = S;
                v = whole(place, key + K * D, &ldv, T, D);
            }
            for (long i0 = 0; i0 < T; i0 += BAND) {
                long m = T - i0 < BAND ? T - i0 : BAND, seen = i0 + m, cols = UP(seen);
                product(m, cols, D, q + i0 * S, S, 1, kt, Tp, p, Tp, 0);
                for (long i = 0; i < m; i++) {
                    float *row = p + i * Tp, top = -INFINITY, sum = 0.0f;
                    for (long j = i0 + i + 1; j < cols; j++) row[j] = -INFINITY;
#pragma omp simd reduction(max : top)
                    for (long j = 0; j < cols; j++) top = row[j] > top ? row[j] : top;
#pragma omp simd reduction(+ : sum)
                    for (long j = 0; j < cols; j++) {
                        row[j] = exp_(scale * (row[j] - top));
                        sum += row[j];
                    }
                    for (long j = i0 + i + 1; j < cols; j++) row[j] = 0.0f;
                    logs[(b * N + head) * T + i0 + i] = scale * top + logf(sum);
                    sums[i] = 1.0f / sum;
                }
                product(m, Dp, seen, p, Tp, 1, v, ldv, o, Dp, 0);
                for (long i = 0; i < m; i++)
                    for (long d = 0; d < D; d++) y[(b * T + i0 + i) * N * D + head * D + d] = o[i * Dp + d] * sums[i];
            }
        }
    free(memory);
    return 0;
}

/* The gradient of qkv from that of y, dy. Returns 1 where memory is short. */
int attention_backward(const float *dy, const float *qkv, const float *y, const float *logs, float *dqkv, long B, long T,
                       long N, long K, long D, float scale)
{
    long S = (N + 2 * K) * D, R = N * D, Dp = UP(D), Tp = UP(T), group = N / K;
    float *memory = scratch(2 * D * Tp + 3 * T * Dp + BAND * (2 * Tp + 3 * Dp));
    if (!memory) return 1;
    float *kt = memory, *vt = kt + D * Tp, *keys = vt + D * Tp, *dk = keys + T * Dp, *dv = dk + T * Dp, *p = dv + T * Dp,
          *dp = p + BAND * Tp, *queries = dp + BAND * Tp, *gradients = queries + BAND * Dp, *dq = gradients + BAND * Dp;
    const float *k = keys;
    long ldk = S;
    for (long b = 0; b < B; b++)
        for (long head = 0; head < N; head++) {
            long where = b * T * S + (N + head / group) * D;
            if (head % group == 0) {
                turned(kt, qkv + where, S, T, D, Tp);
                ldk = S;
                k = whole(keys, qkv + where, &ldk, T, D);
                turned(vt, qkv + where + K * D, S, T, D, Tp);
                memset(dk, 0, 2 * T * Dp * sizeof(float));
            }
            for (long i0 = 0; i0 < T; i0 += BAND) {
                long m = T - i0 < BAND ? T - i0 : BAND, seen = i0 + m, cols = UP(seen), ldq = S, ldg = R;
                const float *out = y + (b * T + i0) * R + head * D, *gradient = dy + (b * T + i0) * R + head * D;
                const float *q = whole(queries, qkv + (b * T + i0) * S + head * D, &ldq, m, D);
                const float *g = whole(gradients, gradient, &ldg, m, D);
                product(m, cols, D, q, ldq, 1, kt, Tp, p, Tp, 0);
                product(m, cols, D, g, ldg, 1, vt, Tp, dp, Tp, 0);
                for (long i = 0; i < m; i++) {
                    float *row = p + i * Tp, *drow = dp + i * Tp, delta = 0.0f, log = logs[(b * N + head) * T + i0 + i];
#pragma omp simd reduction(+ : delta)
                    for (long d = 0; d < D; d++) delta += gradient[i * R + d] * out[i * R + d];
#pragma omp simd
                    for (long j = 0; j < cols; j++) {
                        row[j] = exp_(scale * row[j] - log);
                        drow[j] = scale * row[j] * (drow[j] - delta);
                    }
                    for (long j = i0 + i + 1; j < cols; j++) row[j] = drow[j] = 0.0f;
                }
                product(seen, Dp, m, p, 1, Tp, g, ldg, dv, Dp, 1);
                product(seen, Dp, m, dp, 1, Tp, q, ldq, dk, Dp, 1);
                product(m, Dp, seen, dp, Tp, 1, k, ldk, dq, Dp, 0);
                for (long i = 0; i < m; i++)
                    for (long d = 0; d < D; d++) dqkv[(b * T + i0 + i) * S + head * D + d] = dq[i * Dp + d];
            }
            if (head % group == group - 1)
                for (long t = 0; t < T; t++) {
                    for (long d = 0; d < D; d++) {
                        dqkv[where + t * S + d] = dk[t * Dp + d];
                        dqkv[where + t * S + K * D + d] = dv[t * Dp + d];
                    }
                }
        }
    free(memory);
    return 0;
}

/* Turn features d and d + D / 2 of the first `heads` heads of rows (n, S) by the angles of their positions, cos and sin
   (T, D / 2); the other way for sign -1. In place. */
void rotate(float *rows, const float *cos, const float *sin, float sign, long B, long T, long heads, long D, long S)
{
    for (long row = 0; row < B * T; row++)
        for (long head = 0; head < heads; head++) {
            float *a = rows + row * S + head * D, *b = a + D / 2;
            const float *c = cos + row % T * (D / 2), *s = sin + row % T * (D / 2);
#pragma omp simd
            for (long d = 0; d < D / 2; d++) {
                float x = a[d], z = b[d], t = sign * s[d];
                a[d] = x * c[d] - z * t;
                b[d] = x * t + z * c[d];
            }
        }
}

/* -- norms ---------------------------------------------------------------------------------------------------------- */

/* y = norm(x) (n, H), or of total = x + more, where there is more. weight and bias (H,), bias may be missing. stats (n, 2): the mean
   (0 for rms) and one over the standard deviation. LayerNorm: Ba et al. 2016; RMSNorm: Zhang & Sennrich 2019. */
void norm(const float *x, const float *more, float *total, const float *weight, const float *bias, float *y, float *stats,
          long n, long H, float eps, int rms)
{
    for (long i = 0; i < n; i++) {
        const float *row = x + i * H;
        float *out = y + i * H, mean = 0.0f, square = 0.0f;
        if (more) {
            const float *extra = more + i * H;
            float *sums = total + i * H;
#pragma omp simd
            for (long j = 0; j < H; j++) sums[j] = row[j] + extra[j];
            row = sums;
        }
        if (!rms) {
#pragma omp simd reduction(+ : mean)
            for (long j = 0; j < H; j++) mean += row[j];
            mean /= H;
        }
#pragma omp simd reduction(+ : square)
        for (long j = 0; j < H; j++) square += (row[j] - mean) * (row[j] - mean);
        float r = 1.0f / sqrtf(square / H + eps);
        stats[2 * i] = mean, stats[2 * i + 1] = r;
        if (bias) {
#pragma omp simd
            for (long j = 0; j < H; j++) out[j] = (row[j] - mean) * r * weight[j] + bias[j];
        } else {
#pragma omp simd
            for (long j = 0; j < H; j++) out[j] = (row[j] - mean) * r * weight[j];
        }
    }
}

/* Adds to dx the gradient of x from that of norm(x), dy; to dweight and dbias, which may be missing, theirs. */
void norm_backward(const float *dy, const float *x, const float *stats, const float *weight, float *dx, float *dweight,
                   float *dbias, long n, long H, int rms)
{
    for (long i = 0; i < n; i++) {
        const float *g = dy + i * H, *row = x + i * H;
        float *out = dx + i * H, mean = stats[2 * i], r = stats[2 * i + 1], first = 0.0f, second = 0.0f;
#pragma omp simd reduction(+ : first, second)
        for (long j = 0; j < H; j++) {
            float z = (row[j] - mean) * r, u = g[j] * weight[j];
            first += u;
            second += u * z;
            dweight[j] += g[j] * z;
        }
        first = rms ? 0.0f : first / H;
        second /= H;
#pragma omp simd
        for (long j = 0; j < H; j++) out[j] += r * (g[j] * weight[j] - first - (row[j] - mean) * r * second);
        if (dbias) {
#pragma omp simd
            for (long j = 0; j < H; j++) dbias[j] += g[j];
        }
    }
}

/* -- activations ---------------------------------------------------------------------------------------------------- */

/* a (n, F) = the activation of u, and in the place of u its derivative: by which the gradient of a is multiplied. u is (n, F),
   for a gate and a value (n, 2 F). Kinds: 0 gelu, 1 gelu with tanh, 2 the square of relu, 3 swiglu. */
void activate(float *u, float *a, long n, long F, int kind)
{
    if (kind == 0) {
#pragma omp simd
        for (long i = 0; i < n * F; i++) {
            float x = u[i], e = exp_(-0.5f * x * x), cdf = normal(x, e);
            a[i] = x * cdf;
            u[i] = cdf + 0.39894228f * x * e;
        }
    } else if (kind == 1) { /* x times the logistic function of 2 w: 0.5 (1 + tanh(w)) is that */
#pragma omp simd
        for (long i = 0; i < n * F; i++) {
            float x = u[i], b = x < -20.0f ? -20.0f : x; /* beyond, it is 0 or x */
            b = b > 20.0f ? 20.0f : b;
            float square = b * b, w = 1.59576912f * b * (1.0f + 0.044715f * square), s = 1.0f / (1.0f + exp_(-w));
            a[i] = x * s;
            u[i] = s + b * s * (1.0f - s) * 1.59576912f * (1.0f + 0.134145f * square);
        }
    } else if (kind == 2) {
#pragma omp simd
        for (long i = 0; i < n * F; i++) {
            float x = u[i] < 0.0f ? 0.0f : u[i];
            a[i] = x * x;
            u[i] = 2.0f * x;
        }
    } else {
        for (long row = 0; row < n; row++) {
            float *gate = u + 2 * row * F, *value = gate + F, *out = a + row * F;
#pragma omp simd
            for (long i = 0; i < F; i++) {
                float x = gate[i], v = value[i], s = 1.0f / (1.0f + exp_(-x)), silu = x * s;
                out[i] = silu * v;
                gate[i] = v * (s + silu * (1.0f - s));
                value[i] = silu;
            }
        }
    }
}

/* -- both ends ------------------------------------------------------------------------------------------------------ */

/* Where the first of n ids is that is not in [0, V); n if there is none. */
long stranger(const int64_t *ids, long n, long V)
{
    for (long i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= V) return i;
    return n;
}

/* x (n, H) = rows of the table by ids (n,), and rows of positions (T, H), which may be missing, by place. */
void embed(const int64_t *ids, const float *table, const float *positions, float *x, long n, long T, long H)
{
    for (long i = 0; i < n; i++) {
        const float *row = table + ids[i] * H, *place = positions ? positions + i % T * H : 0;
        float *out = x + i * H;
        if (!place) memcpy(out, row, H * sizeof(float));
        else
#pragma omp simd
            for (long j = 0; j < H; j++) out[j] = row[j] + place[j];
    }
}

/* Adds the gradient dx (n, H) to those of the table and of the positions, which may be missing. */
void embed_backward(const int64_t *ids, const float *dx, float *dtable, float *dpositions, long n, long T, long H)
{
    for (long i = 0; i < n; i++) {
        const float *row = dx + i * H;
        float *out = dtable + ids[i] * H;
#pragma omp simd
        for (long j = 0; j < H; j++) out[j] += row[j];
        if (dpositions) {
            float *place = dpositions + i % T * H;
#pragma omp simd
            for (long j = 0; j < H; j++) place[j] += row[j];
        }
    }
}

/* The mean over rows of the cross-entropy of logits (n, V), smoothed, plus z times the square of the log of the sum; in the
   place of the logits, its gradient times `factor`. */
float token_loss(float *logits, const int64_t *targets, long n, long V, float smoothing, float z, float factor)
{
    double total = 0.0;
    float share = factor / n, even = smoothing / V;
    for (long i = 0; i < n; i++) {
        float *row = logits + i * V, top = row[0], sum = 0.0f, all = 0.0f, target = row[targets[i]];
#pragma omp simd reduction(max : top)
        for (long j = 0; j < V; j++) top = row[j] > top ? row[j] : top;
#pragma omp simd reduction(+ : sum, all)
        for (long j = 0; j < V; j++) {
            float below = row[j] - top;
            all += below;
            row[j] = exp_(below);
            sum += row[j];
        }
        /* Differences from the top, not logits, so that no digits are lost where all are large. */
        float over = logf(sum), log = top + over, scale = share * (1.0f + 2.0f * z * log) / sum;
        total += (1.0f - smoothing) * (over - (target - top)) + z * log * log;
        total += smoothing > 0.0f ? smoothing * (over - all / V) : 0.0f;
#pragma omp simd
        for (long j = 0; j < V; j++) row[j] = scale * row[j] - share * even;
        row[targets[i]] -= share * (1.0f - smoothing);
    }
    return (float)(total / n);
}
