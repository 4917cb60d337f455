/* See cases.h: exceptions that are thrown through frames, and functions in objects. */
#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

static volatile unsigned sink;

static __attribute__((noinline)) unsigned throws(unsigned depth)
{
	std::string held("a text that is longer than fits into the object");

	if (!depth)
		throw std::runtime_error(held);
	return throws(depth - 1) + static_cast<unsigned>(held.size());
}

extern "C" void cpp_throws(void)
{
	try {
		sink = sink + throws(6);
	} catch (const std::exception &error) {
		sink = sink + static_cast<unsigned>(error.what()[0]);
	}
}

extern "C" void cpp_lambdas(void)
{
	std::vector<unsigned> numbers(300);
	std::function<bool(unsigned, unsigned)> order = [&](unsigned a, unsigned b) {
		return (a ^ sink) < (b ^ sink);
	};

	for (unsigned i = 0; i < numbers.size(); i++)
		numbers[i] = i * 2654435761u;
	std::sort(numbers.begin(), numbers.end(), order);
	sink = sink + numbers[3];
}
