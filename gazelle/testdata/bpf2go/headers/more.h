#pragma once
#define MORE 1
