package user_test

import "testing"

func TestOne(*testing.T) {}

func TestTwo(*testing.T) {}
