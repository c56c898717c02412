package core

// Order are the quantizations that a reference without one stands for, the first that
// is there and fits.
var Order = []string{"Q4_K_M", "Q5_K_M", "Q4_0", "Q8_0", "F16"}

// Choices are the models that a reference may stand for: itself, or without a
// quantization one for each of Order, in its order.
func (ref ModelRef) Choices() []ModelRef {
	hub, ok := ref.Hub()
	if !ok || hub.Tag != "" {
		return []ModelRef{ref}
	}
	list := make([]ModelRef, len(Order))
	for i, tag := range Order {
		hub.Tag = tag
		list[i] = hub.Ref()
	}
	return list
}

// Among returns the first of a reference's choices that is there.
func (ref ModelRef) Among(there func(ModelRef) bool) (ModelRef, bool) {
	for _, one := range ref.Choices() {
		if there(one) {
			return one, true
		}
	}
	return "", false
}
