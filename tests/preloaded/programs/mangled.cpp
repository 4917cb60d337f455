// Functions whose names are mangled, each busy for the seconds that are asked for.
#include <chrono>
#include <cstdlib>

using Clock = std::chrono::steady_clock;
static volatile unsigned sink;

namespace shop
{
namespace
{
__attribute__((noinline)) void spin(Clock::time_point end)
{
	while (Clock::now() < end)
		for (unsigned i = 0; i < 1000; i++)
			sink = sink + i;
}
} // namespace

template <typename T, int N> struct Basket {
	__attribute__((noinline)) void operator()(T seconds) const
	{
		spin(Clock::now() + std::chrono::microseconds(static_cast<long>(seconds * N)));
		sink = sink + 1;
	}
	__attribute__((noinline)) Basket &operator+=(const T &seconds)
	{
		(*this)(seconds);
		sink = sink + 1;
		return *this;
	}
};
} // namespace shop

int main(int, char **argv)
{
	shop::Basket<double, 1000000> basket;

	basket += std::atof(argv[1]);
	return 0;
}
