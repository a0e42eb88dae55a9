// ---- Mean and maximum over the positions of a sequence [batch, length, channels].

struct PoolForwardArguments {
  const float* x;
  float* y;     // rows of means [channels], then maxima [channels]
  int* argmax;  // [batch, channels]
  Int length;
  Int channels;
  Int y_row;
  Int argmax_row;
};
// Elements of [batch, channels], each with all its positions.
MAA_DEVICE void mean_max_pool_forward(Int i, const PoolForwardArguments& a) {
  const Int s = i / a.channels, c = i % a.channels;
  const float* x = a.x + s * a.length * a.channels + c;
  float sum = x[0], maximum = x[0];
  int where = 0;
  for (Int l = 1; l < a.length; ++l) {
    const float value = x[l * a.channels];
    sum += value;
    where = value > maximum ? int(l) : where;
    maximum = value > maximum ? value : maximum;
  }
  a.y[s * a.y_row + c] = sum * (1.0f / float(a.length));
  a.y[s * a.y_row + a.channels + c] = maximum;
  a.argmax[s * a.argmax_row + c] = where;
}
MAA_PER_ELEMENT(mean_max_pool_forward, PoolForwardArguments)

struct PoolBackwardArguments {
  const float* dy;
  const int* argmax;
  float* dx;
  Int length;
  Int channels;
  Int dy_row;
  Int argmax_row;
};
// Elements of dx.
MAA_DEVICE void mean_max_pool_backward(Int i, const PoolBackwardArguments& a) {
  const Int c = i % a.channels, l = i / a.channels % a.length, s = i / a.channels / a.length;
  const float* dy = a.dy + s * a.dy_row + c;
  a.dx[i] = dy[0] * (1.0f / float(a.length)) + (a.argmax[s * a.argmax_row + c] == l ? dy[a.channels] : 0.0f);
}
MAA_PER_ELEMENT(mean_max_pool_backward, PoolBackwardArguments)
