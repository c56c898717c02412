package secure

import "testing"

func TestHostAllowed(t *testing.T) {
	names := []string{"mac", "mac.lan"}
	tests := map[string]bool{
		"localhost": true, "LOCALHOST:8080": true, "127.0.0.1:8080": true, "[::1]:9200": true, "::1": true,
		"10.0.0.7": true, "mac:8001": true, "Mac.lan": true, "mac.lan.": true,
		"evil.example": false, "evil.example:8080": false, "localhost.evil.example": false, "": false, "mac2": false,
	}
	for host, want := range tests {
		if got := HostAllowed(host, names); got != want {
			t.Errorf("HostAllowed(%q) = %v, want %v", host, got, want)
		}
	}
}

func TestOriginAllowed(t *testing.T) {
	tests := []struct {
		origin, host string
		want         bool
	}{
		{"", "localhost:8080", true},
		{"http://localhost:8080", "localhost:8080", true},
		{"http://evil.example", "localhost:8080", false},
		{"http://localhost:3000", "localhost:8080", false},
		{"null", "localhost:8080", false},
	}
	for _, tt := range tests {
		if got := OriginAllowed(tt.origin, tt.host); got != tt.want {
			t.Errorf("OriginAllowed(%q, %q) = %v, want %v", tt.origin, tt.host, got, tt.want)
		}
	}
}

func TestEqual(t *testing.T) {
	if !Equal("secret", "secret") || Equal("secret", "secre") || Equal("", "x") {
		t.Error("Equal does not compare")
	}
}
