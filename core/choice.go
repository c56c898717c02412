package core

// Choices are the models that a reference may stand for: itself, or without a
// quantization one for each of Preferred, in its order.
func (ref ModelRef) Choices() []ModelRef {
	hub, ok := ref.Hub()
	if !ok || hub.Tag != "" {
		return []ModelRef{ref}
	}
	list := make([]ModelRef, len(Preferred))
	for i, tag := range Preferred {
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
