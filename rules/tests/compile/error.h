#pragma once
struct no_such_struct by_value;
