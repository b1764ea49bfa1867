#pragma once

int two(int n);
