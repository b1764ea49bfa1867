#pragma once

int note(int what);
