"""What each operation of the graph becomes in a TensorFlow graph that `cv2.dnn` reads rightly."""
