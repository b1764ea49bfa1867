#pragma once

int limited(int n);
