import unittest

from tally import split


class SplitTest(unittest.TestCase):
    def test_even(self):
        self.assertEqual(split(900, 3), [300, 300, 300])

    def test_odd_cents_are_not_lost(self):
        self.assertEqual(split(1000, 3), [334, 333, 333])
        self.assertEqual(split(5, 4), [2, 1, 1, 1])

    def test_nobody(self):
        with self.assertRaises(ValueError):
            split(100, 0)


if __name__ == "__main__":
    unittest.main()
